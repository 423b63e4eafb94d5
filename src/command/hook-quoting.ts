/** Quotes a word for sh: single quotes hold everything but themselves. */
export function quoteForShell(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** Quotes a word for ExecStart= (systemd.service(5), systemd.syntax(7)). */
export function quoteForUnit(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', () => '$$')
  return /^[\w@%+=:,./${}-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, '\\$&')}"`
}
