"""A make-believe /sys and udev (umockdev), driven by JSON lines on stdin.

{"add": {"subsystem": …, "name": …, "parent": …, "attributes": {…}, "properties": {…}}}
{"remove": SYSPATH}            the device goes, with its event
{"change": SYSPATH}            an event only
{"camera": {"node": "/dev/video0", "fault": …, "h264": FILE}}   adds a camera that answers

Each command is answered with one JSON line; the first line is the testbed's directory.
Run under umockdev-wrapper.
"""

import json
import sys
import threading

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import GLib, UMockdev  # noqa: E402

import camera  # noqa: E402

testbed = UMockdev.Testbed.new()
cameras = []


def pairs(table):
    return [text for item in table.items() for text in item]


def obey(command):
    if "add" in command:
        device = command["add"]
        path = testbed.add_device(
            device["subsystem"],
            device["name"],
            device.get("parent"),
            pairs(device.get("attributes", {})),
            pairs(device.get("properties", {})),
        )
        return {"path": path}
    if "remove" in command:
        testbed.uevent(command["remove"], "remove")
        testbed.remove_device(command["remove"])
        return {}
    if "change" in command:
        testbed.uevent(command["change"], "change")
        return {}
    if "camera" in command:
        cameras.append(camera.attach(testbed, **command["camera"]))
        return {}
    return {"error": f"unknown command {command}"}


def say(answer):
    print(json.dumps(answer), flush=True)


def listen(loop):
    say({"directory": testbed.get_root_dir()})
    for line in sys.stdin:
        done = threading.Event()

        def run(line=line, done=done):
            say(obey(json.loads(line)))
            done.set()
            return False

        GLib.idle_add(run)
        done.wait()
    loop.quit()


loop = GLib.MainLoop()
threading.Thread(target=listen, args=(loop,), daemon=True).start()
loop.run()
