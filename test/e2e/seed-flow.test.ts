/**
 * The dedicated-deployments page that Paddock follows carries a sample in Python. Here it runs word for word; only the
 * address and the key are ours. Hardware that this machine lacks is emulated, and money is counted as if it were real.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { childEnv, findProgram } from '../../src/runtime/processes.ts'
import { ApiError } from '../../src/wire/native/client.ts'
import { type Server, startServer } from './harness.ts'
import { Place } from './place.ts'

const python = findProgram('python3')
const run = promisify(execFile)

const sample = (base: string, key: string) => `
import requests
API_KEY = "${key}"
BASE = "${base}"
H = {"Authorization": f"Bearer {API_KEY}"}
dep = requests.post(f"{BASE}/deployments", headers=H, json={
    "name": "prod-llama-70b",
    "model_id": "llama-3.3-70b-instruct",
    "gpu_type": "h100",
    "region": "nyc2",
    "replicas": 1,
}).json()
print(dep["id"]) # dep_abc123
print(dep["status"]) # provisioning
import time
while True:
    r = requests.get(f"{BASE}/deployments/{dep['id']}", headers=H).json()
    if r["status"] == "active":
        print("Ready:", r["endpoint_url"])
        break
    time.sleep(5)
response = requests.post(
    f"{BASE}/deployments/{dep['id']}/chat/completions",
    headers=H,
    json={
        "model": "llama-3.3-70b-instruct",
        "messages": [{"role": "user", "content": "Explain gradient descent"}],
        "max_tokens": 512,
        "stream": False,
    },
)
print(response.json()["choices"][0]["message"]["content"])
# Check projected monthly cost
dep = requests.get(f"{BASE}/deployments/{dep['id']}", headers=H).json()
print(f"\${dep['hourly_cost_usd']}/hr × 730 = \${dep['hourly_cost_usd'] * 730:.2f}/mo projected")
requests.delete(f"{BASE}/deployments/{dep['id']}", headers=H)
`

/** The few words of `requests` that the sample uses, for a Python without it. */
const standIn = `
import json as _json, urllib.request, urllib.error

class Response:
    def __init__(self, status, body):
        self.status_code, self.text = status, body.decode()
    def json(self):
        return _json.loads(self.text)

def _send(method, url, headers=None, json=None):
    data = None if json is None else _json.dumps(json).encode()
    ask = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
    if data is not None:
        ask.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(ask) as answer:
            return Response(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Response(error.code, error.read())

def get(url, **more): return _send("GET", url, **more)
def post(url, **more): return _send("POST", url, **more)
def delete(url, **more): return _send("DELETE", url, **more)
`

describe('the seed’s flow', () => {
  const place = new Place()
  let server: Server

  before(async () => {
    server = await startServer(place, { args: ['--fleet', 'emulated'] })
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  it('its Python sample runs as it stands', { skip: python === null && 'there is no python3' }, async () => {
    const { stdout } = await runSample(server)
    const lines = stdout.trimEnd().split('\n')
    assert.match(lines[0]!, /^dep_[a-z0-9]+$/)
    assert.equal(lines[1], 'provisioning')
    assert.equal(lines[2], `Ready: ${server.url}/api/v1/public/deployments/${lines[0]}`)
    assert.equal(lines.at(-1), '$4.41/hr × 730 = $3219.30/mo projected')
    const deleted = await server.gone(lines[0]!)
    assert.ok(deleted.cost_usd > 0, `it cost something: ${deleted.cost_usd}`)
    assert.equal(deleted.hourly_cost_usd, 0)
  })

  it('says that the hardware is emulated, and what really answers', async () => {
    const wish = { name: 'honest', model_id: 'llama-3.3-70b-instruct', gpu_type: 'h100', region: 'nyc2', replicas: 1 }
    const created = await server.native.createDeployment(wish)
    for (const seen of [created, (await server.native.listDeployments()).data[0]!]) {
      assert.equal(seen.emulated, true)
      assert.equal(seen.served_by, 'paddock/starter')
    }
    const answer = await server.native.chatCompletions('honest', {
      messages: [{ role: 'user', content: 'Who are you?' }],
      max_tokens: 2,
    })
    const body = (await answer.json()) as { emulated?: boolean; served_by?: string }
    assert.equal(body.emulated, true)
    assert.equal(body.served_by, 'paddock/starter')
  })

  it('billing runs while it serves, stops with the delete, and a deleted deployment is 404', async () => {
    const { id, created_at } = await server.active('honest')
    const first = (await server.native.getDeployment(id)).cost_usd
    await until(systemClock, 'the cost grows', 60_000, async () => {
      const { cost_usd, hourly_cost_usd } = await server.native.getDeployment(id)
      assert.equal(hourly_cost_usd, 4.41)
      return cost_usd > first
    })
    const asked = await server.native.deleteDeployment(id)
    const lifetimeHours =
      (Date.parse(asked.deleted_at ?? new Date(systemClock.now()).toISOString()) - Date.parse(created_at)) / 3_600_000
    assert.ok(asked.cost_usd <= 4.41 * lifetimeHours + 1e-6, 'never more than its lifetime')
    await assert.rejects(
      server.native.chatCompletions(id, { messages: [{ role: 'user', content: 'Still there?' }] }),
      (error: unknown) => error instanceof ApiError && error.status === 404,
    )
    const gone = await server.gone(id)
    assert.equal(gone.cost_usd, asked.cost_usd)
    // That something does not happen can only be seen by looking for a while.
    await systemClock.sleep(1_000)
    assert.equal((await server.native.getDeployment(id)).cost_usd, asked.cost_usd)
  })
})

async function runSample(server: Server): Promise<{ stdout: string }> {
  const folder = join(server.place.root, 'sample')
  mkdirSync(folder)
  const hasRequests = await run(python!, ['-c', 'import requests']).then(
    () => true,
    () => false,
  )
  if (!hasRequests) writeFileSync(join(folder, 'requests.py'), standIn)
  const program = join(folder, 'sample.py')
  writeFileSync(program, sample(`${server.url}/api/v1/public`, server.operatorKey))
  assert.ok(existsSync(program))
  return run(python!, [program], {
    env: childEnv({ PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1', PYTHONIOENCODING: 'utf-8' }),
    timeout: 60_000,
  })
}
