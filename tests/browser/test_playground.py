"""The playground in a real browser: from a prompt, and from pictures, to an image."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.browser.conftest import DESKTOP, PHONE, Open, Watch, World, serious_faults

PAGE = "/portal/playground"
READY = "#playground[data-ready]"
A1111 = (
    "a lighthouse\nNegative prompt: fog\nSteps: 7, Sampler: Euler a, CFG scale: 6.5, Seed: 42, Size: 256x128"
)


def png(*, parameters: str = "", size: tuple[int, int] = (256, 256)) -> dict[str, Any]:
    """A file as it is chosen in a form."""
    info = PngInfo()
    if parameters:
        info.add_text("parameters", parameters)
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, "PNG", pnginfo=info)
    return {"name": "picture.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def begin(open_page: Open, query: str = "", **options: Any) -> Any:
    page = open_page(f"{PAGE}{query}", **options)
    page.wait_for_selector(READY)
    return page


def choose(page: Any, kind: str) -> None:
    page.click(f'[data-kind="{kind}"]')
    page.wait_for_selector(f'[data-kind="{kind}"][aria-pressed="true"]')


def give_picture(page: Any, field: str = "image", **options: Any) -> None:
    page.locator(f'[data-field="{field}"] input[type=file]').first.set_input_files(png(**options))
    page.wait_for_selector(f'[data-field="{field}"] .pg-thumb img')


def generate(page: Any) -> Any:
    """Presses the button and waits for what comes of it."""
    before = page.locator(".pg-result").count()
    page.click("#pg-submit")
    result = page.locator(".pg-result").first
    page.wait_for_function(
        f"() => document.querySelectorAll('.pg-result').length > {before}"
        " || !document.querySelector('#pg-error').hidden"
    )
    refusal = page.locator("#pg-error")
    assert refusal.is_hidden(), refusal.inner_text()
    return result


def seen_image(result: Any) -> list[int]:
    """Width and height of the first image, once the browser has it."""
    image = result.locator(".pg-image img").first
    image.scroll_into_view_if_needed()
    image.page.wait_for_function(
        "image => image.complete && image.naturalWidth > 0", arg=image.element_handle()
    )
    return image.evaluate("image => [image.naturalWidth, image.naturalHeight]")  # type: ignore[no-any-return]


def test_text_to_image(open_page: Open) -> None:
    page = begin(open_page)
    page.fill('[data-field="prompt"] textarea', "a red fox in the snow")
    page.fill('[data-field="width"] input', "128")
    page.fill('[data-field="height"] input', "64")
    page.keyboard.press("Control+Enter")

    page.wait_for_selector(".pg-live")
    page.wait_for_selector(".pg-result")
    assert seen_image(page.locator(".pg-result").first) == [128, 64]


def test_image_to_image(open_page: Open) -> None:
    page = begin(open_page)
    choose(page, "img2img")
    give_picture(page)
    page.fill('[data-field="prompt"] textarea', "a red fox")

    result = generate(page)

    assert seen_image(result) == [256, 256]


def test_inpaint_with_a_mask_that_is_painted(open_page: Open) -> None:
    page = begin(open_page, "?kind=inpaint")
    give_picture(page)
    page.fill('[data-field="prompt"] textarea', "a red fox")
    canvas = page.locator(".pg-easel canvas")
    # Hovering waits until the canvas is shown and stands still.
    canvas.hover(position={"x": 40, "y": 40})
    page.mouse.down()
    canvas.hover(position={"x": 120, "y": 90})
    page.mouse.up()

    result = generate(page)

    assert seen_image(result) == [256, 256]


def test_a_mask_that_is_not_painted_is_missing(open_page: Open, world: World) -> None:
    page = begin(open_page, "?kind=inpaint")
    give_picture(page)
    page.fill('[data-field="prompt"] textarea', "a red fox")
    page.click("#pg-submit")

    page.wait_for_selector("#pg-error:not([hidden])")
    assert "Mask" in page.inner_text("#pg-error")


def test_settings_of_a_picture_that_is_dropped(open_page: Open) -> None:
    page = begin(open_page)
    page.set_input_files("#pg-settings-file", png(parameters=A1111))
    page.wait_for_function(
        "() => document.querySelector('[data-field=prompt] textarea').value === 'a lighthouse'"
    )

    assert page.input_value('[data-field="width"] input') == "256"
    assert page.input_value('[data-field="seed"] input') == "42"
    assert page.input_value('[data-field="steps"] input[type=number]') == "7"
    assert page.input_value('[data-field="sampler"] select') == "euler_a"


def test_code_in_four_languages_says_what_the_form_says(open_page: Open) -> None:
    page = begin(open_page)
    page.fill('[data-field="prompt"] textarea', """Anna's "fox" </script>""")
    page.click(".pg-code summary")
    said = {
        "curl": """Anna'\\''s \\"fox\\" </script>""",
        "python": 'prompt="Anna\'s \\"fox\\" </script>"',
        "javascript": '"prompt": "Anna\'s \\"fox\\" </script>"',
        "php": """'prompt' => 'Anna\\'s "fox" </script>'""",
    }
    for language, text in said.items():
        page.click(f'[data-language="{language}"]')
        page.wait_for_function(
            "text => document.getElementById('pg-code').textContent.includes(text)", arg=text
        )


def test_a_result_is_used_again(open_page: Open) -> None:
    page = begin(open_page)
    page.fill('[data-field="prompt"] textarea', "a blue fox")
    page.fill('[data-field="seed"] input', "7")
    result = generate(page)
    page.fill('[data-field="prompt"] textarea', "something else")

    result.get_by_role("button", name="Reuse settings").click()
    page.wait_for_function(
        "() => document.querySelector('[data-field=prompt] textarea').value === 'a blue fox'"
    )
    assert page.input_value('[data-field="seed"] input') == "7"

    result.locator(".pg-use").select_option("upscale")
    page.wait_for_selector('[data-kind="upscale"][aria-pressed="true"]')
    page.wait_for_selector('[data-field="image"] .pg-thumb img')


def test_a_result_is_deleted_after_a_question(open_page: Open) -> None:
    page = begin(open_page)
    page.fill('[data-field="prompt"] textarea', "a fox that goes")
    result = generate(page)
    job = result.get_attribute("data-job")

    page.once("dialog", lambda dialog: dialog.dismiss())
    result.get_by_role("button", name="Delete").click()
    assert page.locator(f'.pg-result[data-job="{job}"]').count() == 1
    page.once("dialog", lambda dialog: dialog.accept())
    result.get_by_role("button", name="Delete").click()
    page.wait_for_selector(f'.pg-result[data-job="{job}"]', state="detached")


def test_what_runs_can_be_canceled(open_page: Open) -> None:
    page = begin(open_page)
    page.fill('[data-field="prompt"] textarea', "a slow fox")
    page.locator('details:has([data-field="steps"]) summary').click()
    page.fill('[data-field="steps"] input[type=number]', "150")
    page.click("#pg-submit")
    page.wait_for_selector(".pg-live")
    page.locator(".pg-live").get_by_role("button", name="Cancel").click()

    page.wait_for_selector(".pg-live", state="detached")
    page.get_by_text("Canceled").first.wait_for()


def test_a_refusal_is_shown_where_the_fault_is(open_page: Open, watch: Watch) -> None:
    watch.expected = ("Failed to load resource: the server responded with a status of 400",)
    page = begin(open_page)
    page.fill('[data-field="prompt"] textarea', "a fox")
    page.fill('[data-field="width"] input', "65")
    page.click("#pg-submit")

    page.wait_for_selector('[data-field="width"].is-refused')
    assert "width" in page.inner_text("#pg-error")


def test_the_catalogue_is_searched(open_page: Open) -> None:
    page = begin(open_page)
    page.click(".pg-model-button")
    page.fill("dialog[open] input[type=search]", "dri")
    page.locator("dialog[open] .pg-model").first.click()

    page.wait_for_function("() => !document.querySelector('dialog[open]')")
    assert "Drill" in page.inner_text('[data-field="model"]')


@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_everybody_can_use_it(open_page: Open, size: dict[str, int], theme: str) -> None:
    page = begin(open_page, size=size, theme=theme)
    page.fill('[data-field="prompt"] textarea', "a fox")
    generate(page)
    for group in page.locator("details.pg-group").all():
        group.evaluate("group => (group.open = true)")
    page.click(".pg-code summary")

    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "nothing stands out sideways"
    )
