/** The first octets of a connection that are no TLS record, or the alert that ends TLS before anything is encrypted */
export type RecordFault =
  | { readonly type: 'plain-text'; readonly isFirst: boolean }
  | { readonly type: 'invalid-record' }
  | { readonly type: 'alert'; readonly number: number }

/** Type, version and length (RFC 8446, 5.1) */
const HEADER_OCTETS = 5
/** The greatest length of a record in any version of TLS (RFC 5246, 6.2.3) */
const RECORD_OCTETS = 16_384 + 2048
const ALERT = 0x15
/** Level and number */
const ALERT_OCTETS = 2
const FATAL = 2

/**
 * Follows the headers of TLS records, whose contents may be encrypted, up to the first fault. OpenSSL's own errors can't tell plain text from
 * a broken record on every version of Node.
 */
export class RecordScanner {
  fault: RecordFault | undefined
  #isFirst = true
  /** The header of the record that has begun, and the content of one that may be an unencrypted alert */
  #begun: number[] = []
  /** The octets that are still missing of a record whose header is known */
  #missing = 0

  push(octets: Uint8Array): void {
    let index = 0
    while (index < octets.length && this.fault === undefined) {
      const skipped = Math.min(this.#missing, octets.length - index)
      this.#missing -= skipped
      index += skipped
      const octet = octets[index++]
      if (octet === undefined) return
      this.#begun.push(octet)
      this.#judge(this.#begun)
    }
  }

  #judge(begun: readonly number[]): void {
    const [type = 0, version = 3, , high = 0, low = 0, level, number = 0] = begun
    const length = high * 256 + low
    if (type < 0x14 || type > 0x18 || version !== 3) this.fault = { type: 'plain-text', isFirst: this.#isFirst }
    else if (length > RECORD_OCTETS) this.fault = { type: 'invalid-record' }
    else if (begun.length < HEADER_OCTETS) return
    else if (type !== ALERT || length !== ALERT_OCTETS) this.#endHeader(length)
    else if (begun.length < HEADER_OCTETS + ALERT_OCTETS) return
    else if (level === FATAL) this.fault = { type: 'alert', number }
    else this.#endHeader(0)
  }

  #endHeader(missing: number): void {
    this.#isFirst = false
    this.#begun = []
    this.#missing = missing
  }
}

/** Returns true for one whole record with an unencrypted fatal alert. */
export function isFatalAlert(octets: Uint8Array): boolean {
  const scanner = new RecordScanner()
  scanner.push(octets)
  return scanner.fault?.type === 'alert' && octets.length === HEADER_OCTETS + ALERT_OCTETS
}
