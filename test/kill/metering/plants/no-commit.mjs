/** Planted: every second line is called committed and is never sent. */
import pg from 'pg'

const { query } = pg.Client.prototype
pg.Client.prototype.query = function (sql, values, ...rest) {
  if (typeof sql !== 'string' || !sql.includes('insert into usage_requests'))
    return query.call(this, sql, values, ...rest)
  const lines = JSON.parse(values[0])
  const sent = lines.filter(([id]) => id.charCodeAt(id.length - 1) % 2 === 0)
  return query.call(this, sql, [JSON.stringify(sent)], ...rest)
}
