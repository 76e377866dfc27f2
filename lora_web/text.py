"""Every sentence the page shows, in one place. English for now; another language is another dictionary."""

from __future__ import annotations

ENGLISH = {
    "title": "LoRA Web",
    "tagline": "Teach a model your pictures, move a slider to see what it learned, take home a file other tools read.",
    "pictures": "1. Pictures",
    "example": "Use the example pictures",
    "clear": "Start over",
    "drop": "Your pictures (PNG, JPEG, WebP), captions (.txt beside them) or a zip file",
    "limits": "Up to {files} files of {megabytes} MB each. They stay on this computer, in the workspace folder.",
    "limits_hosted": "Up to {files} files of {megabytes} MB each. Only your browser can reach them on this server.",
    "gallery": "Pictures and captions",
    "no_caption": "no caption",
    "more_pictures": "and {count} more",
    "no_picture_found": "No picture was found; add PNG, JPEG or WebP files.",
    "more_lines": "and {count} more",
    "no_pictures": "No pictures yet. Add your own, or use the example: 18 small drawings in one style.",
    "count": "{count} pictures ready.",
    "one": "1 picture ready. That is enough to try; 10 to 20 teach more.",
    "rejected": "Left out:",
    "notes": "Good to know:",
    "example_missing": "The example pictures are not part of this copy of the program; add pictures of your own.",
    "unreadable": "These pictures could not be stored ({reason}); free some disk space and add them again.",
    "settings": "2. Settings",
    "advanced": "Advanced settings",
    "parts.": "Base",
    "parts.data": "Data",
    "parts.adapter": "Adapter",
    "parts.train": "Training",
    "parts.options": "This family",
    "train": "Train",
    "need_pictures": "There are no pictures to train on yet; add some in step 1.",
    "already": "A run is going already; stop or discard it first.",
    "base_refused": "base is {base!r}; this server offers only {bases}",
    "progress": "3. Training",
    "state.none": "Nothing is training yet.",
    "state.queued": "Waiting for {ahead} other run to end.",
    "state.queued_next": "Starting.",
    "state.preparing": "Reading the pictures and loading the base. This takes a few seconds.",
    "state.running": "Training.",
    "state.stopping": "Stopping after this step. What was learned is kept.",
    "state.finished": "Done. Try it below.",
    "state.stopped": "Stopped. What was learned is kept; try it below, or resume.",
    "state.failed": "Training failed.",
    "state.interrupted": "Training was interrupted.",
    "keep_hint": "Resume goes on from the last checkpoint.",
    "gone": "This run is no longer there.",
    "step": "Step {step} of {steps}",
    "left": "about {time} left",
    "loss": "Loss {loss}",
    "safe": "It is safe to close this page: training goes on, and this link finds it again in this browser:",
    "link": "link to this run",
    "log": "Last lines of the log",
    "plot": "Loss (grey: each step, blue: smoothed)",
    "plot.raw": "each step",
    "plot.smooth": "smoothed",
    "stop": "Stop and keep",
    "resume": "Resume",
    "discard": "Discard",
    "discard_sure": "Delete this run and everything it learned?",
    "preview": "4. Try it",
    "prompt": "Prompt",
    "prompt_hint": "for example: a fox",
    "show": "Show",
    "preview_settings": "Picture settings",
    "negative_prompt": "Negative prompt",
    "seed": "Seed",
    "preview_steps": "Sampling steps",
    "guidance": "Guidance",
    "ladder_empty": "After a run, write a prompt and press Show: one picture at several strengths, and a slider.",
    "strength": "Strength",
    "strength_help": "0 is the base alone, 1 the trained adapter. Arrow keys work too.",
    "base_picture": "Base, without the adapter",
    "adapter_picture": "With the adapter at {strength}",
    "ladder_of": "“{prompt}”, seed {seed}",
    "need_adapter": "There is no trained adapter yet; train one first.",
    "need_prompt": "The prompt is empty; describe a picture.",
    "failed_preview": "The pictures could not be made: {reason}",
    "download.diffusers": "Download for diffusers",
    "download.kohya": "Download for kohya, ComfyUI",
    "failed_export": "The file could not be made: {reason}",
    "port_taken": "Port {port} on {host} is in use by another program; choose another with --port.",
    "ready": "LoRA Web is ready: {url}  (Ctrl+C ends the page; a training that is going on goes on)",
}

WORDS = ENGLISH


def say(key: str, **values: object) -> str:
    """The sentence with this key, its blanks filled in."""
    return WORDS[key].format(**values) if values else WORDS[key]


def duration(seconds: float) -> str:
    """A span of time as a person would say it."""
    seconds = max(1, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
