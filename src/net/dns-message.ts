export { decode, type DecodedPacket, encode, RECURSION_DESIRED } from 'dns-packet'
