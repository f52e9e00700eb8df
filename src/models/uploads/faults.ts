/** What is refused, in the words of uploads. */
import type { Right } from '../../access/permissions.ts'
import { Fault } from '../../kernel/fault.ts'
import { comingMaximum } from './limits.ts'

export function taken(name: string): Fault {
  return new Fault('name_taken', `There is a model "${name}" already.`, {
    action: 'Choose another name, or delete the model that has it.',
  })
}

export function notThere(idOrName: string): Fault {
  return new Fault('not_found', `There is no uploaded model "${idOrName.slice(0, 80)}" in this organisation.`)
}

/** An Idempotency-Key is used again whose upload did not come whole. */
export function alreadyGone(): Fault {
  return new Fault('conflict', 'The upload that this Idempotency-Key began was broken off.', {
    action: 'Send it again with a new Idempotency-Key.',
  })
}

export function lacks(right: Right): Fault {
  return new Fault('forbidden', `This API key does not have the right ${right} here.`)
}

export function tooMany(): Fault {
  return new Fault('quota_exceeded', `${comingMaximum} uploads of this organisation have begun and are not whole.`, {
    action: 'Finish or delete one of them.',
  })
}

/** Of the disk, whatever the quota says. It passes when somebody makes room. */
export function noRoom(cause?: unknown): Fault {
  return new Fault('unavailable', 'The disk of this server has no room for the upload.', {
    action: 'Ask the operator to make room, or upload a smaller file. What came of a resumable upload is kept.',
    retryAfterSeconds: 60,
    cause,
  })
}

export function inUse(name: string, deployments: readonly string[]): Fault {
  const named = deployments.slice(0, 10).join(', ')
  return new Fault('conflict', `byom:${name} is needed by ${named}.`, {
    action: 'Give these deployments another model, remove the adapter from them or delete them, then delete it.',
    detail: { deployments },
  })
}
