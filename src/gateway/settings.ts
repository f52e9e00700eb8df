/** The settings of the server as the limits of each stage. */
import type { Config } from '../runtime/settings.ts'

export function holdLimits(settings: Config) {
  return {
    maxSeconds: settings['hold.max_seconds'],
    maxRequests: settings['hold.max_requests'],
    maxBytes: settings['hold.max_bytes'],
    commentSeconds: settings['hold.comment_seconds'],
  }
}

export function queueLimits(settings: Config) {
  return {
    maxMs: settings['limits.queue_seconds'] * 1000,
    maxRequests: settings['limits.queue_requests'],
    maxBytes: settings['limits.queue_bytes'],
  }
}

export function requestLimits(settings: Config) {
  return {
    maxBytes: settings['gateway.max_body_bytes'],
    stallMs: settings['gateway.body_timeout_seconds'] * 1000,
    mediaDomains: settings['gateway.media_domains'].map((domain) => domain.toLowerCase()),
    firstByteMs: settings['gateway.first_byte_timeout_seconds'] * 1000,
    answerMs: settings['gateway.answer_timeout_seconds'] * 1000,
    chunkMs: settings['gateway.chunk_timeout_seconds'] * 1000,
    commentMs: settings['hold.comment_seconds'] * 1000,
    maxAnswerBytes: settings['gateway.max_answer_bytes'],
    drainStreams: settings['gateway.on_disconnect'] === 'drain',
  }
}
