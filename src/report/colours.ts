import { Chalk } from 'chalk'
import type { Colours } from './reporter.js'

// Loaded only for an output that shows colours.

export const colours: Colours = new Chalk({ level: 1 })
