"""The wording of a training's log lines."""


class Lines:
    """The default wording; a model with another log overrides a method."""

    per_epoch = False  # whether each epoch has its own line and progress bar
    finished = ""  # the last line of a training

    def __init__(self, options):
        self.options = options

    def begin_epoch(self, epoch):
        """Before an epoch, if `per_epoch`."""
        return f"Epoch {epoch}"

    def step(self, done, total, losses, rate, times, scale):
        """After `--log_every` steps; `losses`: means since the last line, `times`: of `Clock`."""
        parts = "".join(f" - {name}: {value:.5f}" for name, value in losses.items()
                        if name != "loss")
        return f"Step nr: [{done}/{total}] - Loss: {losses['loss']:.5f}{parts} - Lr: {rate:.7f}"

    def epoch(self, epoch, epochs, loss, val_psnr, val_ssim):
        """After a validation."""
        return (f"Epoch nr: [{epoch}/{epochs}] - Loss: {loss:.5f} - val PSNR: {val_psnr:.3f} - "
                f"val SSIM: {val_ssim:.3f}")

    def final(self, scale, psnr, ssim):
        """Lines after the table of results, for each scale."""
        return ()
