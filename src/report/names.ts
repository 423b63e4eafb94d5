const NAMES_LISTED = 3

/** Returns a few names in full, and of many the number and the first ones: `40 names (a.example, b.example, c.example, ...)`. */
export function listNames(names: readonly string[]): string {
  return names.length <= NAMES_LISTED ? names.join(', ') : countOf(names, 'name')
}

/** Returns the number of items with the first ones: `2 servers (mx1.example, mx2.example)`. */
export function countOf(items: readonly string[], noun: string): string {
  const rest = items.length > NAMES_LISTED ? ', ...' : ''
  return `${formatCount(items.length, noun)} (${items.slice(0, NAMES_LISTED).join(', ')}${rest})`
}

/** Returns a number with its noun: `1 name`, `2 names`. */
export function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
