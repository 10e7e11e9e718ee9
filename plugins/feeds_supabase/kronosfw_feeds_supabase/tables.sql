-- Tables that the feed `supabase` of kronosfw reads, by their default names. It can be run again: what is there
-- already is left as it is, with its grants and policies.

do $$
declare
  present text[] := array(select relname::text from pg_class where relnamespace = current_schema()::regnamespace);
  made text;
  reader text;
begin

-- Windows of bars are read by the primary key, backwards.
create table if not exists ohlcv_1h (
  symbol text not null,
  timestamp timestamptz not null,  -- when the bar opens
  open double precision not null,
  high double precision not null,
  low double precision not null,
  close double precision not null,
  volume double precision,         -- in units of the instrument
  primary key (symbol, timestamp)
);

create table if not exists ohlcv_1d (
  symbol text not null,
  timestamp timestamptz not null,  -- midnight UTC of the session's date
  open double precision not null,
  high double precision not null,
  low double precision not null,
  close double precision not null,
  volume double precision,
  primary key (symbol, timestamp)
);

-- One row for each version of an event: its date, a new date, the consensus, the figure, its revision. Only add
-- rows; what was known is never changed.
create table if not exists economic_calendar (
  event text not null,             -- the same in all versions
  kind text not null,              -- cpi, nfp, fomc, gdp, pce, rate_decision, earnings, …
  scheduled_at timestamptz not null,
  known_at timestamptz not null default now(),
  symbols text[],                  -- null for all
  importance double precision check (importance between 0 and 3),
  actual double precision,
  forecast double precision,
  previous double precision,
  primary key (event, known_at)
);

create table if not exists central_bank_rates (
  currency text not null,          -- USD is of kind fomc, any other of kind rate_decision
  decided_at timestamptz not null, -- when the decision is published
  known_at timestamptz not null default now(),
  importance double precision check (importance between 0 and 3),
  rate double precision,           -- in per cent; null until it is decided
  forecast double precision,
  previous double precision,
  primary key (currency, decided_at, known_at)
);

create table if not exists economic_indicators (
  currency text not null,
  indicator text not null,         -- as calendars call it, such as CPI m/m
  period text not null,            -- what it is about, such as 2024-11: the same in all versions
  released_at timestamptz not null,
  known_at timestamptz not null default now(),
  kind text,                       -- cpi, nfp, …; null for the one that the indicator's name stands for
  importance double precision check (importance between 0 and 3),
  value double precision,
  forecast double precision,
  previous double precision,
  primary key (currency, indicator, period, known_at)
);

-- Events are read by their time.
create index if not exists economic_calendar_time on economic_calendar (scheduled_at);
create index if not exists central_bank_rates_time on central_bank_rates (decided_at);
create index if not exists economic_indicators_time on economic_indicators (released_at);

-- Row-level security: without a policy nobody but the owner and service_role sees a row, and no error says so. The
-- policy here lets all who are signed in read everything; narrow it where a reader is to see a part.
foreach made in array array[
  'ohlcv_1h', 'ohlcv_1d', 'economic_calendar', 'central_bank_rates', 'economic_indicators'
] loop
  continue when made = any (present);
  execute format('alter table %I enable row level security', made);
  -- The roles of Supabase; another Postgres may lack them.
  for reader in select rolname from pg_roles where rolname in ('authenticated', 'service_role') loop
    execute format('grant select on %I to %I', made, reader);
    if reader = 'authenticated' then
      execute format('create policy read_all on %I for select to authenticated using (true)', made);
    end if;
  end loop;
end loop;

end
$$;
