"""`limner studio`: a page on which trained models are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, chosen_device
from limner.core.errors import SettingsError

DESCRIPTION = """Serve a page on this machine on which trained models are used: paint captions, compare models side by side, walk between
captions, change words, move things, tell stories, see where a model looked, complete, edit and restyle pictures of your own. Each model
has the panels for what it can do. The folder of a run that is being trained shows its samples over time, its curves and the time left.

The page is served to this machine alone, and asks for nothing from the network. Ctrl-C ends it.

examples:
  limner studio
  limner studio garden garden-fast
  limner studio runs/mine
  limner studio runs/mine --host 0.0.0.0 --port 8000"""


@dataclass(frozen=True, kw_only=True)
class StudioArguments:
    models: Annotated[Positional[tuple[str, ...]], arg(metavar="MODEL")] = ("garden",)
    """Shipped names such as 'garden', run folders, model folders or ONNX files."""
    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"
    """Where to listen: by default this machine alone can reach the page; 0.0.0.0 lets in everybody who can reach this machine."""
    port: Annotated[int | None, arg(metavar="N")] = None
    """The port; by default the first free one from 7860. 0 takes any free one."""
    browse: bool = False
    """Open the page in the browser."""
    share: bool = False
    """Also make a public address, through a relay that the makers of gradio run: everybody who knows it can paint."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(StudioArguments, argv, prog="limner studio", description=DESCRIPTION)
    from limner.studio import extra

    extra.needed()
    if not arguments.models:
        raise SettingsError("there is nothing to show: give a model, such as garden")
    from limner.studio.opened import open_all
    from limner.studio.serve import HERE, serve

    opened = open_all(arguments.models, chosen_device(arguments.device))

    def ready(address: str, public: str | None) -> None:
        print(f"limner studio: {address}", flush=True)
        if public:
            print(f"public, for whoever knows it: {public}", flush=True)
        if arguments.host not in HERE:
            print("everybody who can reach this machine can use it; Ctrl-C ends it", flush=True)

    serve(opened, host=arguments.host, port=arguments.port, share=arguments.share, browse=arguments.browse, ready=ready)
    return 0
