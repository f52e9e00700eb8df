/** The SQL of shares of limits. A row is what a gateway may use until then, and counts 60 seconds longer. */
import type { Database } from '../store/database.ts'
import { answerTo, countsLongerMs, type Holder, type ShareAnswer, type ShareAsk } from './limit-shares.ts'

interface Row {
  subject: string
  holder: string
  requests: number
  tokens: number
  wants_requests: number
  wants_tokens: number
}

/** Asks in any order. Holds for `leaseMs` from `now` on (ms since epoch). */
export async function exchangeShares(
  db: Database,
  name: string,
  asks: readonly ShareAsk[],
  { now, leaseMs }: { now: number; leaseMs: number },
): Promise<ShareAnswer[]> {
  const subjects = asks.map(({ subject }) => subject).sort()
  return db.tx(async (tx) => {
    // In one order everywhere, so that two gateways do not wait for each other.
    await tx.query(
      `select pg_advisory_xact_lock(hashtextextended(subject, 17)) from (
         select subject from unnest($1::text[]) as asked (subject) order by subject
       ) as ordered`,
      [subjects],
    )
    const rows = await tx.query<Row>(
      `select subject, holder, requests, tokens, wants_requests, wants_tokens from limit_shares
       where subject = any($1) and until > $2 and holder <> $3`,
      [subjects, new Date(now - countsLongerMs), name],
    )
    const bySubject = Map.groupBy(rows, ({ subject }) => subject)
    const answers = asks.map((ask) => {
      const others = bySubject.get(ask.subject) ?? []
      return answerTo(ask, {
        requests: others.map((row) => holder(row.requests, row.wants_requests)),
        tokens: others.map((row) => holder(row.tokens, row.wants_tokens)),
      })
    })
    await tx.query(
      `insert into limit_shares (subject, holder, requests, tokens, wants_requests, wants_tokens, wanting, until)
       select asked.*, $8 from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
         $7::boolean[]) as asked
       on conflict (subject, holder) do update set requests = excluded.requests, tokens = excluded.tokens,
         wants_requests = excluded.wants_requests, wants_tokens = excluded.wants_tokens, wanting = excluded.wanting,
         until = excluded.until`,
      [
        asks.map(({ subject }) => subject),
        asks.map(() => name),
        answers.map(({ requests }) => requests),
        answers.map(({ tokens }) => tokens),
        asks.map(({ requests }) => requests?.wants ?? 0),
        asks.map(({ tokens }) => tokens?.wants ?? 0),
        answers.map((one) => one.targetRequests > one.requests || one.targetTokens > one.tokens),
        new Date(now + leaseMs),
      ],
    )
    return answers
  })
}

function holder(share: number, wants: number): Holder {
  return { share: Number(share), wants: Number(wants) }
}

/** Of which somebody else wants more than there is. */
export async function wantedShares(db: Database, holder: string, now: number): Promise<string[]> {
  const rows = await db.query<{ subject: string }>(
    'select distinct subject from limit_shares where wanting and holder <> $1 and until > $2',
    [holder, new Date(now)],
  )
  return rows.map(({ subject }) => subject)
}

/** What it holds of subjects that it does not know any more, because nobody asked for them. */
export async function releaseShares(db: Database, holder: string, subjects: readonly string[]): Promise<void> {
  await db.query(
    `update limit_shares set requests = 0, tokens = 0, wants_requests = 0, wants_tokens = 0, wanting = false
     where holder = $1 and subject = any($2)`,
    [holder, subjects],
  )
}

/** What it has used counts for 60 seconds more, and the rest is free. `used`: subject → requests, tokens. */
export async function leaveShares(
  db: Database,
  holder: string,
  used: ReadonlyMap<string, { requests: number; tokens: number }>,
  now: number,
): Promise<void> {
  const all = [...used]
  await db.query(
    `update limit_shares set requests = used.requests, tokens = used.tokens, wanting = false, wants_requests = 0,
       wants_tokens = 0, until = least(until, $5)
     from unnest($1::text[], $2::bigint[], $3::bigint[]) as used (subject, requests, tokens)
     where limit_shares.subject = used.subject and holder = $4`,
    [
      all.map(([subject]) => subject),
      all.map(([, { requests }]) => requests),
      all.map(([, { tokens }]) => tokens),
      holder,
      new Date(now),
    ],
  )
}

/**
 * A process has begun under this name: an earlier one of that name has ended, and what it held counts 60 seconds from
 * now on at most. `holders` are `<name>/<start>`.
 */
export async function endFormerShares(db: Database, name: string, holder: string, now: number): Promise<void> {
  await db.query(
    `update limit_shares set until = least(until, $3), wanting = false, wants_requests = 0, wants_tokens = 0
     where starts_with(holder, $1 || '/') and holder <> $2`,
    [name, holder, new Date(now)],
  )
}

/** Rows that count no more. */
export async function forgetShares(db: Database, now: number): Promise<void> {
  await db.query('delete from limit_shares where until <= $1', [new Date(now - countsLongerMs)])
}
