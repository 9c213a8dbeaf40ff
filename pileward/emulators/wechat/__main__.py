"""`python -m pileward.emulators.wechat` runs the emulator."""

from pileward.emulators.wechat.command import command

if __name__ == "__main__":
    command()
