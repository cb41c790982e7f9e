"""Random crops of padded images."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class CropAugmentation(Augmentation):
    """A random crop, of the image's size, of the padded image (He et al., 2016).

    With zeros it is `shift` by the same pixels.
    """

    name: Literal["crop"] = "crop"
    padding: int = Field(4, ge=0, le=64)
    """Pixels added on each side."""
    fill: Literal["zeros", "reflect"] = "reflect"
    """Padding: black, or the image mirrored at its border without repeating the border itself."""
    mirror: bool = False
    """Turn half of the images left to right."""

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError where more would be mirrored than there is of an image."""
        if self.fill == "reflect" and self.padding >= image_size:
            raise ValueError(
                f"augmentation crop: padding {self.padding} must be below the image's "
                f"{image_size} pixels for fill: reflect; lower it, or choose fill: zeros"
            )

    def augment(self, images: "Tensor", seed: int) -> "Tensor":
        import torch  # noqa: PLC0415 - see Augmentation

        from models.augmentations.geometry import mirror, shift  # noqa: PLC0415

        source = torch.Generator().manual_seed(seed)
        cropped = shift(images, self.padding, source, reflect=self.fill == "reflect")
        return mirror(cropped, source) if self.mirror else cropped
