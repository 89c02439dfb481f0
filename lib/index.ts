// The public surface: re-exports only.

export { ShaleError } from './errors.ts'
