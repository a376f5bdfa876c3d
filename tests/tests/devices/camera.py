"""A make-believe video4linux camera: YUY2 and perhaps H.264, 320x180, 25/s, by read().

Structures are those of linux/videodev2.h on 64-bit machines.
"""

import errno
import os
import struct
import time

from gi.repository import UMockdev

WIDTH, HEIGHT, RATE = 320, 180, 25
SIZE = WIDTH * HEIGHT * 2
# An access unit is filled with zeroes to this, which its syntax allows: read() gives whole buffers.
UNIT = 16_000
CAPTURE, READWRITE = 0x00000001, 0x01000000
YUYV = struct.unpack("<I", b"YUYV")[0]
H264 = struct.unpack("<I", b"H264")[0]
DELIMITER = b"\0\0\0\1\x09"

QUERYCAP, ENUM_FMT, G_FMT, S_FMT, TRY_FMT = 0, 2, 4, 5, 64
G_PARM, S_PARM, ENUMINPUT, G_INPUT, S_INPUT = 21, 22, 26, 38, 39
ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 74, 75


def pix_format(pixels):
    # type, padding, then v4l2_pix_format: width, height, pixelformat, field (none), bytesperline,
    # sizeimage, colorspace (sRGB)
    line, size = (0, UNIT) if pixels == H264 else (WIDTH * 2, SIZE)
    return struct.pack("<II7I", 1, 0, WIDTH, HEIGHT, pixels, 1, line, size, 8)


class Camera:
    def __init__(self, fault, h264):
        self.fault = fault
        # Access units, each beginning with a delimiter.
        self.units = []
        if h264:
            with open(h264, "rb") as film:
                self.units = [DELIMITER + unit for unit in film.read().split(DELIMITER)[1:]]
        self.offers = [YUYV] + ([H264] if h264 else [])
        self.pixels = YUYV
        self.frames = 0
        self.began = None

    def answer(self, number, data):
        """The structure after the call, or an errno."""
        if number == QUERYCAP:
            words = struct.pack("<16s32s32s", b"uvcvideo", b"Make-believe", b"usb-0000:00:14.0-2")
            capabilities = CAPTURE | READWRITE
            return words + struct.pack("<III", 0x060100, capabilities | 0x80000000, capabilities)
        if number == ENUM_FMT:
            index, kind = struct.unpack_from("<II", data)
            if index >= len(self.offers) or kind != 1:
                return errno.EINVAL
            pixels = self.offers[index]
            # flags: compressed
            return struct.pack("<III32sI", index, 1, int(pixels == H264), b"pictures", pixels)
        if number in (G_FMT, TRY_FMT, S_FMT):
            if struct.unpack_from("<I", data)[0] != 1:
                return errno.EINVAL
            if number == S_FMT and self.fault == "busy":
                return errno.EBUSY
            if number == G_FMT:
                return pix_format(self.pixels)
            pixels = struct.unpack_from("<I", data, 16)[0]
            pixels = pixels if pixels in self.offers else YUYV
            if number == S_FMT:
                self.pixels = pixels
            return pix_format(pixels)
        if number in (G_PARM, S_PARM):
            if struct.unpack_from("<I", data)[0] != 1:
                return errno.EINVAL
            return struct.pack("<IIIII", 1, 0x1000, 0, 1, RATE)
        if number == ENUMINPUT:
            if struct.unpack_from("<I", data)[0] > 0:
                return errno.EINVAL
            return struct.pack("<I32sI", 0, b"Camera 1", 2)
        if number in (G_INPUT, S_INPUT):
            return struct.pack("<I", 0)
        if number == ENUM_FRAMESIZES:
            index, pixels = struct.unpack_from("<II", data)
            if index > 0 or pixels not in self.offers:
                return errno.EINVAL
            return struct.pack("<IIIII", 0, pixels, 1, WIDTH, HEIGHT)
        if number == ENUM_FRAMEINTERVALS:
            index, pixels, width, height = struct.unpack_from("<IIII", data)
            if index > 0 or pixels not in self.offers or (width, height) != (WIDTH, HEIGHT):
                return errno.EINVAL
            return struct.pack("<IIIIIII", 0, pixels, WIDTH, HEIGHT, 1, 1, RATE)
        return errno.ENOTTY

    def on_ioctl(self, _handler, client):
        request = client.get_request()
        kind, number, size = (request >> 8) & 0xFF, request & 0xFF, (request >> 16) & 0x3FFF
        if kind != ord("V"):
            client.complete(-1, errno.ENOTTY)
            return True
        data = client.get_arg().resolve(0, size)
        answer = self.answer(number, bytes(data.retrieve()))
        if isinstance(answer, int):
            client.complete(-1, answer)
        else:
            data.update(0, answer)
            client.complete(0, 0)
        return True

    def on_read(self, _handler, client):
        if self.fault == "gone" and self.frames == 30:
            client.complete(-1, errno.ENODEV)
            return True
        # The next picture is due a frame after the last.
        now = time.monotonic()
        self.began = self.began or now
        time.sleep(max(0.0, self.began + self.frames / RATE - now))
        if self.pixels == H264:
            picture = self.units[self.frames % len(self.units)].ljust(UNIT, b"\0")
        else:
            picture = bytes([40 + self.frames * 5 % 160, 128]) * (SIZE // 2)
        self.frames += 1
        client.get_arg().update(0, picture)
        client.complete(len(picture), 0)
        return True


def attach(testbed, node, fault=None, h264=None):
    """Adds a camera with this node to the testbed. The result must be kept."""
    name = node.removeprefix("/dev/")
    testbed.add_from_string(
        f"P: /devices/platform/{name}/video4linux/{name}\n"
        f"N: {name}\n"
        "E: SUBSYSTEM=video4linux\n"
        f"E: DEVNAME={node}\n"
        "E: ID_V4L_CAPABILITIES=:capture:\n"
        "A: name=Make-believe\n"
        "A: index=0\n"
        "A: dev=81:0\n"
    )
    camera = Camera(fault, h264)
    handler = UMockdev.IoctlBase.new()
    handler.connect("handle-ioctl", camera.on_ioctl)
    handler.connect("handle-read", camera.on_read)
    testbed.attach_ioctl(node, handler)
    # The node is a terminal in truth: with a line waiting in it, poll() says that there is a picture.
    os.write(testbed.get_dev_fd(node), b"\n")
    return camera, handler
