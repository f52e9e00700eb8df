/** Planted: a request's arrival is the moment at which it is sent to the ledger, so that a second time is another one. */
import pg from 'pg'

const { query } = pg.Client.prototype
pg.Client.prototype.query = function (sql, values, ...rest) {
  if (typeof sql !== 'string' || !sql.includes('insert into usage_requests'))
    return query.call(this, sql, values, ...rest)
  const lines = JSON.parse(values[0]).map(([id, , ...line]) => [id, Date.now(), ...line])
  return query.call(this, sql, [JSON.stringify(lines)], ...rest)
}
