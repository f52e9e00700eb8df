import assert from 'node:assert/strict'
import { test } from 'node:test'
import { figureTable } from './report.ts'
import { runBench } from './run.ts'
import { bench } from './scale.ts'

test('step load: ours reach their targets, and peers what their formulas say', async () => {
  const figures = await runBench(bench)
  const value = (name: string) => figures.find((figure) => figure.name === name)?.value ?? Number.NaN
  assert.ok(
    figures.every(({ ok }) => ok),
    figureTable(figures),
  )
  const instant = (name: string) => value(`${name}, starts of 0 s`)
  assert.ok(instant('target') <= 10)
  assert.ok(instant('steps') >= 7 * 60 && instant('steps') <= 660)
  // Derived by hand: 7/8 of 600 s; 15 looks of 20 s; one lock of 300 s.
  assert.ok(instant('KubeAI') >= 520 && instant('KubeAI') <= 540)
  assert.ok(instant('SkyServe') >= 280 && instant('SkyServe') <= 360)
  assert.ok(instant('dstack') >= 300 && instant('dstack') <= 330)
  assert.ok(instant('Knative') <= 10)
  assert.ok(value('target, starts of 60 s') <= 70)
})
