#!/usr/bin/env python3
"""slow-link.py [--rate BIT/S] [--delay MS] [--loss SHARE] [--seed N] DEVICE DEVICE

Creates two TUN devices and forwards IPv4 packets between them, both ways, as a slow line. One of the devices can be moved into
another network namespace. A packet takes its time on the line and comes out after the delay, unless it is lost. The seed alone
decides whether the nth packet of a direction is lost.

Reads commands from standard input, until its end: `count`, `cut` (loses the packets in flight, and all later ones) and `mend`.
After each command it prints one line of JSON with the counts of each direction, named for the device where it begins.
"""

import argparse
import collections
import fcntl
import json
import os
import random
import select
import socket
import struct
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000

# A packet that finds more octets waiting for the line is dropped, as by a modem.
QUEUE_OCTETS = 4096


def open_tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def is_pure_fin(packet):
    """Returns whether a packet is a TCP segment with FIN and without data: the client waits for no reply to it."""
    head = (packet[0] & 15) * 4
    return packet[9] == socket.IPPROTO_TCP and packet[head + 13] & 1 and len(packet) == head + (packet[head + 12] >> 4) * 4


def segment_key(packet):
    """Returns a key for a datagram, or a TCP segment with data, SYN or FIN, else None. A retransmission has the same key."""
    head = (packet[0] & 15) * 4
    if packet[9] == socket.IPPROTO_UDP:
        return packet[12:20] + packet[head:]
    if packet[9] != socket.IPPROTO_TCP:
        return None
    offset = head + (packet[head + 12] >> 4) * 4
    has_sequence = len(packet) > offset or packet[head + 13] & 3
    return packet[12:20] + packet[head : head + 8] if has_sequence else None


class Direction:
    """The packets from one device to the other."""

    def __init__(self, source, target, seed, line):
        self.source, self.target, self.line = source, target, line
        self.random = random.Random(seed)
        self.back = None
        # The longest chain of packets that ends at the source: each was sent after the one before it had arrived.
        self.chain = 0
        self.is_cut = False
        self.free_at = 0.0
        self.in_flight = collections.deque()
        self.known_segments = set()
        self.count = dict(packets=0, octets=0, segments=0, trips=0, retransmitted=0, lost=0, dropped=0)

    def read_packet(self):
        packet = os.read(self.source, 65536)
        # The only IPv6 packets are the kernel's neighbour discovery.
        if packet[0] >> 4 != 4:
            return
        now = time.monotonic()
        self.count["packets"] += 1
        self.count["octets"] += len(packet)
        key = segment_key(packet)
        chain = 0 if is_pure_fin(packet) else self.chain + 1
        if key in self.known_segments:
            self.count["retransmitted"] += 1
        elif key is not None:
            self.count["segments"] += 1
            self.count["trips"] = max(self.count["trips"], (chain + 1) // 2)
            self.known_segments.add(key)
        is_lost = self.random.random() < self.line.loss
        begins = max(now, self.free_at)
        if (begins - now) * self.line.rate / 8 > QUEUE_OCTETS:
            self.count["dropped"] += 1
            return
        self.free_at = begins + len(packet) * 8 / self.line.rate
        if is_lost or self.is_cut:
            self.count["lost"] += 1
        else:
            self.in_flight.append((self.free_at + self.line.delay / 1000, packet, chain))

    def cut(self):
        self.is_cut = True
        self.count["lost"] += len(self.in_flight)
        self.in_flight.clear()

    def deliver(self):
        """Writes the packets that are due; returns the seconds until the next one, or None."""
        while self.in_flight:
            seconds = self.in_flight[0][0] - time.monotonic()
            if seconds > 0:
                return seconds
            _, packet, chain = self.in_flight.popleft()
            self.back.chain = max(self.back.chain, chain)
            os.write(self.target, packet)
        return None


def run_command(command, directions):
    for direction in directions.values():
        if command == "cut":
            direction.cut()
        elif command == "mend":
            direction.is_cut = False
    print(json.dumps({name: direction.count for name, direction in directions.items()}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("devices", nargs=2)
    parser.add_argument("--rate", type=int, default=9600)
    parser.add_argument("--delay", type=float, default=300)
    parser.add_argument("--loss", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    line = parser.parse_args()
    one, other = line.devices
    ends = {one: open_tun(one), other: open_tun(other)}
    directions = {
        one: Direction(ends[one], ends[other], f"{line.seed} there", line),
        other: Direction(ends[other], ends[one], f"{line.seed} back", line),
    }
    directions[one].back, directions[other].back = directions[other], directions[one]
    run_command("count", directions)
    # select doesn't see lines in a buffer.
    commands = open(0, "rb", buffering=0)
    while True:
        waits = [seconds for seconds in [direction.deliver() for direction in directions.values()] if seconds is not None]
        ready, _, _ = select.select([*ends.values(), commands], [], [], min(waits, default=None))
        for direction in directions.values():
            if direction.source in ready:
                direction.read_packet()
        if commands in ready:
            command = commands.readline()
            if command == b"":
                return
            run_command(command.decode().strip(), directions)


main()
