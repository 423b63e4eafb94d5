#!/usr/bin/env python3
"""slow-link.py [--rate BIT/S] [--delay MS] [--loss SHARE] [--seed N] DEVICE DEVICE

A slow link between two TUN devices, which it makes; one of them can be moved into another network namespace. It forwards IPv4
packets both ways: each takes its time on the line, is lost or not, and comes out after the delay. The nth packet of a
direction is lost, or not, by the seed alone.

Standard input takes `count`, `cut` (from now on, and of what is under way, nothing gets through) and `mend`. Each is obeyed and
then answered with one line of JSON: for each direction, named by the device where it begins, what was sent. It ends with its input.
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

# What waits for the line, in octets; beyond it packets are dropped, as by a modem.
QUEUE_OCTETS = 4096


def tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def sequence(packet):
    """Tells a TCP segment of octets, SYN or FIN from any other; it is the same when the segment is sent again."""
    if packet[9] != socket.IPPROTO_TCP:
        return None
    head = (packet[0] & 15) * 4
    offset = head + (packet[head + 12] >> 4) * 4
    takes_room = len(packet) > offset or packet[head + 13] & 3
    return packet[12:20] + packet[head : head + 8] if takes_room else None


class Way:
    """One direction."""

    def __init__(self, source, target, seed, line):
        self.source, self.target, self.line = source, target, line
        self.random = random.Random(seed)
        self.is_cut = False
        self.is_free = 0.0
        self.under_way = collections.deque()
        self.seen = set()
        self.count = dict(packets=0, octets=0, segments=0, repeated=0, lost=0, dropped=0)

    def take(self):
        packet = os.read(self.source, 65536)
        # Of IPv6 there is nothing but the kernel's own looking around.
        if packet[0] >> 4 != 4:
            return
        now = time.monotonic()
        self.count["packets"] += 1
        self.count["octets"] += len(packet)
        mark = sequence(packet)
        if mark is not None:
            self.count["repeated" if mark in self.seen else "segments"] += 1
            self.seen.add(mark)
        is_lost = self.random.random() < self.line.loss
        begins = max(now, self.is_free)
        if (begins - now) * self.line.rate / 8 > QUEUE_OCTETS:
            self.count["dropped"] += 1
            return
        self.is_free = begins + len(packet) * 8 / self.line.rate
        if is_lost or self.is_cut:
            self.count["lost"] += 1
        else:
            self.under_way.append((self.is_free + self.line.delay / 1000, packet))

    def cut(self):
        self.is_cut = True
        self.count["lost"] += len(self.under_way)
        self.under_way.clear()

    def deliver(self):
        """Gives out what is due; returns how long the next packet still takes."""
        while self.under_way:
            left = self.under_way[0][0] - time.monotonic()
            if left > 0:
                return left
            os.write(self.target, self.under_way.popleft()[1])
        return None


def obey(command, ways):
    for way in ways.values():
        if command == "cut":
            way.cut()
        elif command == "mend":
            way.is_cut = False
    print(json.dumps({name: way.count for name, way in ways.items()}), flush=True)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("devices", nargs=2)
    options.add_argument("--rate", type=int, default=9600)
    options.add_argument("--delay", type=float, default=300)
    options.add_argument("--loss", type=float, default=0)
    options.add_argument("--seed", type=int, default=0)
    line = options.parse_args()
    one, other = line.devices
    ends = {one: tun(one), other: tun(other)}
    ways = {
        one: Way(ends[one], ends[other], f"{line.seed} there", line),
        other: Way(ends[other], ends[one], f"{line.seed} back", line),
    }
    obey("count", ways)
    # Without a buffer: select would not see what waits in it.
    commands = open(0, "rb", buffering=0)
    while True:
        waits = [left for left in [way.deliver() for way in ways.values()] if left is not None]
        ready, _, _ = select.select([*ends.values(), commands], [], [], min(waits, default=None))
        for way in ways.values():
            if way.source in ready:
                way.take()
        if commands in ready:
            command = commands.readline()
            if command == b"":
                return
            obey(command.decode().strip(), ways)


main()
