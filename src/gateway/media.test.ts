import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '../kernel/fault.ts'
import { requireClearKeys } from './clear-keys.ts'
import { requireAllowedMedia } from './media.ts'
import { parseAsk } from './parse.ts'

/** The parameter that is refused; '' = it passes. */
function refused(body: object | string, domains: string[] = []): string {
  const ask = parseAsk(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
  try {
    requireClearKeys(ask)
    requireAllowedMedia(ask, domains)
    return ''
  } catch (fault) {
    assert.ok(fault instanceof Fault)
    assert.ok(!fault.message.includes('://'), 'addresses stay out of answers')
    return `${fault.code} ${(fault.detail as { param: string }).param}`
  }
}
const saying = (...parts: unknown[]) => ({ messages: [{ role: 'user', content: parts }] })
const image = (url: unknown) =>
  saying({ type: 'text', text: 'see http://a.test/b' }, { type: 'image_url', image_url: { url } })
const at = (path: string) => `engine_parameter_refused ${path}`

test('media inside the request pass', () => {
  for (const url of ['data:image/png;base64,AAAA', 'DATA:image/png;base64,AAAA', 'data:,'])
    assert.equal(refused(image(url)), '')
  assert.equal(refused(saying({ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } })), '')
  assert.equal(refused({ messages: [{ role: 'user', content: 'look at https://a.test/image_url' }] }), '')
})

test('media from elsewhere, files and what only looks like data are refused by their place', () => {
  const where = 'messages[0].content[1].image_url.url'
  for (const url of [
    'http://169.254.169.254/latest/meta-data',
    'https://a.test/b.png',
    'HTTP://a.test',
    ' data:image/png,AA',
    '\tdata:,',
    'file:///etc/passwd',
    '/etc/passwd.png',
    's3://bucket/a',
    '//a.test/b',
    '',
    'AAAA',
  ])
    assert.equal(refused(image(url)), at(where), url)
})

test('in every shape that some engine reads, whatever the part says it is', () => {
  const url = 'https://a.test/b'
  const cases: [object, string][] = [
    [saying({ type: 'image_url', image_url: url }), 'messages[0].content[0].image_url'],
    [saying({ image_url: url }), 'messages[0].content[0].image_url'],
    [saying({ type: 'text', text: 'a', video_url: { url } }), 'messages[0].content[0].video_url.url'],
    [saying({ type: 'audio_url', audio_url: { url } }), 'messages[0].content[0].audio_url.url'],
    [saying({ type: 'video', video: [url, url] }), 'messages[0].content[0].video[0]'],
    [saying({ type: 'image', source: { type: 'url', url } }), 'messages[0].content[0].source.url'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: url }] }] },
      'input[0].content[0].image_url',
    ],
    [{ input: [{ type: 'input_file', file_url: url }] }, 'input[0].file_url'],
    [
      { documents: [{ content: [{ type: 'image_url', image_url: { url } }] }] },
      'documents[0].content[0].image_url.url',
    ],
    [{ messages: { content: [{ image: url }] } }, 'messages.content[0].image'],
  ]
  for (const [body, path] of cases) assert.equal(refused(body), at(path))
  const escaped = '{"messages":[{"content":[{"\\u0069mage_url":{"\\u0075rl":"\\u0068ttp://a.test"}}]}]}'
  assert.equal(refused(escaped), 'invalid_request messages')
})

test('addresses in schemas, metadata and answers of before are nobody’s media', () => {
  const url = 'https://a.test/b'
  for (const body of [
    { metadata: { url }, messages: [] },
    { tools: [{ type: 'function', function: { parameters: { properties: { url: { default: url } } } } }] },
    { messages: [{ role: 'assistant', content: 'a', annotations: [{ type: 'url_citation', url_citation: { url } }] }] },
    { messages: [{ role: 'assistant', tool_calls: [{ function: { arguments: JSON.stringify({ url }) } }] }] },
  ])
    assert.equal(refused(body), '')
})

test('hosts that the operator allows, and nothing that only looks like them', () => {
  const domains = ['a.test', '*.b.test']
  const where = at('messages[0].content[1].image_url.url')
  for (const url of ['https://a.test/x?y=1#z', 'http://A.TEST:8080/x', 'https://a.test', 'https://one.b.test/x'])
    assert.equal(refused(image(url), domains), '', url)
  for (const url of [
    'https://b.test/x',
    'https://xb.test/x',
    'https://sub.a.test/x',
    'https://a.test.evil.test/x',
    'https://a.test@evil.test/x',
    'https://evil.test\\@a.test/x',
    'https://a.test\\@evil.test/x',
    'https://evil.test/https://a.test/',
    'https://a.test\u0000.evil.test/',
    'https://a.test/\nhost: evil',
    'https:\\\\a.test/x',
    'https:a.test/x',
    'https://ａ.test/x',
    'ftp://a.test/x',
    'https://[::1]/x',
  ])
    assert.equal(refused(image(url), domains), where, url)
})

test('a key that stands twice where something is checked is refused, however it is spelled', () => {
  const part = (inner: string) => `{"messages":[{"role":"user","content":[${inner}]}]}`
  const good = '"image_url":{"url":"data:,"}'
  const bad = '"image_url":{"url":"http://a.test"}'
  for (const text of [
    part(`{${bad},${good}}`),
    part(`{${good},"\\u0069mage_url":{"url":"data:,"}}`),
    part(`{"image_url":{"url":"http://a.test" ,"u\\u0072l" : "data:,"}}`),
    '{"messages":[],"messages":[{"content":[{"url":"data:,","url":"data:,"}]}]}',
  ])
    assert.equal(refused(text), 'invalid_request messages', text)
  assert.equal(refused('{"tools":[{"type":"mcp","type":"function"}]}'), 'invalid_request tools')
  assert.equal(refused('{"input":[{"file_url":"http://a.test","file_url":"data:,"}]}'), 'invalid_request input')
  assert.equal(refused('{"stream_options":{"a":1,"a":2}}'), 'invalid_request stream_options')
  assert.equal(
    refused('{"tools":[{"__proto__":{"type":"mcp"}}],"x":{"__proto__":1,"__proto__":2}}'),
    'invalid_request x',
  )
})

test('keys that are fine: in strings, in other objects, in text, beside the same outside', () => {
  for (const text of [
    '{"messages":[{"content":"a"},{"content":"a"}]}',
    '{"messages":[{"content":[{"text":"{\\"a\\":1,\\"a\\":2}"},{"text":"b\\\\"}]}]}',
    '{"tools":[{"type":"function","function":{"name":"\\":","parameters":{"type":{}}}},{"type":"function"}]}',
    '{"stream_options":{"a":1,"a":2},"stream_options":{"a" : {"b":[{},[],"x : y"]}}}',
    '{"input":[[1,2,3],[4]]}',
    '{"input":["a\\":","b"]}',
  ])
    assert.equal(refused(text), '', text)
})
