"""torchvision imports beside any torch, and a real one is left alone."""

import subprocess
import sys
import textwrap


def run(code: str) -> str:
    """Output of fresh Python, for an import happens once in a process."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_models_transforms_and_lpips_can_be_used():
    printed = run("""
        import torch
        from restore_lib.compat import import_torchvision
        tv = import_torchvision()
        assert import_torchvision() is tv
        import lpips
        from torchvision import models, transforms
        print(models.squeezenet1_1(weights=None).eval()(torch.zeros(1, 3, 64, 64)).shape[1],
              transforms.functional.hflip(torch.arange(3.0)[None, None]).tolist())
    """)
    assert printed == "1000 [[[2.0, 1.0, 0.0]]]"


def test_a_real_torchvision_is_not_touched():
    printed = run("""
        from restore_lib import compat
        compat.importlib.import_module = lambda name: name  # its operators load
        print(compat.import_torchvision(), len(compat._declared))
    """)
    assert printed == "torchvision 0"


def test_operators_that_exist_are_not_declared_twice():
    printed = run("""
        import torch
        from restore_lib import compat
        asked = []
        def without_cuda(name):
            asked.append(name)
            if len(asked) == 1:
                raise RuntimeError("operator torchvision::nms does not exist")
        compat.importlib.import_module = without_cuda
        mine = torch.library.Library("torchvision", "FRAGMENT")
        for schema in compat.SCHEMAS.values():
            mine.define(schema)
        compat.import_torchvision()
        print(len(asked), len(compat._declared))
    """)
    assert printed == "2 0"


def test_a_missing_torchvision_names_the_command():
    printed = run("""
        import sys
        from restore_lib import compat
        from restore_lib.errors import RestoreError
        sys.modules["torchvision"] = None
        try:
            compat.import_torchvision()
        except RestoreError as error:
            print(error)
    """)
    assert "pip install torchvision" in printed
