import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { canShorten } from './shortened-vector.ts'

test('families trained for shorter vectors are known by any of their names, others are not', () => {
  for (const name of [
    'Embeddinggemma 300m',
    'Qwen3 Embedding 0.6B',
    'nomic-embed-text-v1.5',
    'https://huggingface.co/nomic-ai/nomic-embed-text-v2-moe',
    'Snowflake Arctic Embed L v2.0',
    'Jina Embeddings v3',
  ])
    assert.ok(canShorten(['Model', name]), name)
  for (const name of ['nomic-embed-text-v1', 'bge-m3', 'Qwen3 0.6B', 'all-MiniLM-L6-v2', ''])
    assert.ok(!canShorten([name]), name)
})
