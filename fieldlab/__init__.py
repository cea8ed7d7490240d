"""The field lab: a real kernel in a virtual machine, interrogated, and what it said written down.

`python3 lab.py fieldlab` runs it; README.md tells what happens and why.  packages.py fetches, build.py builds, boot.py
boots, btf.py reads the kernel's layouts, cells.py asks readers about dressed pages, record.py writes the recording.
"""
