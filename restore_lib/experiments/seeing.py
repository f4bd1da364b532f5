"""What a network saw, and how good the pictures were that it saw: measurements for run records."""

from torch import Tensor

from restore_lib import metrics, vision_metrics
from restore_lib.denoising.recipes import RGB
from restore_lib.experiments.records import Measurement, mean, measurement


def measure_seen(predicted: Tensor, truth: Tensor, goal: str, classes: int, condition: str) -> list[Measurement]:
    """Accuracies with their bootstrap intervals."""
    if goal == "classify":
        first, fifth = (vision_metrics.top_k(predicted, truth, k).float() * 100 for k in (1, 5))
        low, high = vision_metrics.bootstrap(first, lambda part: part.mean())
        whole = {"top1": float(first.mean()), "top1_low": low, "top1_high": high, "top5": float(fifth.mean())}
        each = measurement(condition, "top1_each", first.tolist())
        return [*(Measurement(condition, metric, mean([value])) for metric, value in whole.items()), each]
    counts = vision_metrics.confusion(predicted, truth, classes)
    low, high = vision_metrics.bootstrap(counts, lambda part: 100 * vision_metrics.mean_iou(part))
    whole = {
        "miou": 100 * vision_metrics.mean_iou(counts),
        "miou_low": low,
        "miou_high": high,
        "pixel_accuracy": 100 * vision_metrics.pixel_accuracy(counts),
    }
    each = measurement(condition, "pixel_accuracy_each", [100 * vision_metrics.pixel_accuracy(c) for c in counts])
    return [*(Measurement(condition, metric, mean([value])) for metric, value in whole.items()), each]


def measure_quality(x: Tensor, clean: Tensor, condition: str) -> list[Measurement]:
    """PSNR, SSIM and LPIPS of the clipped, rounded pictures."""
    x = (x.clamp(0, 1) * 255).round() / 255
    at_once = max(1, 250_000 // (x.shape[-2] * x.shape[-1]))
    pairs = list(zip(x.split(at_once), clean.split(at_once), strict=True))
    values = {
        "psnr": [v for a, b in pairs for v in metrics.psnr(a, b, RGB).tolist()],
        "ssim": [v for a, b in pairs for v in metrics.ssim(a, b, RGB).tolist()],
        "lpips_alex": [v for a, b in pairs for v in metrics.lpips(a, b, net="alex").tolist()],
    }
    return [Measurement(condition, metric, mean(found)) for metric, found in values.items()]
