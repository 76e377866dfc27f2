"""Trying an adapter: prompt, ladder, slider, files."""

WORDS = {
    "preview": ("4. Try it", "4. 试用"),
    "prompt": ("Prompt", "提示词"),
    "prompt_hint": ("for example: a fox", "例如：a fox"),
    "show": ("Show", "生成"),
    "preview_settings": ("Picture settings", "图片设置"),
    "negative_prompt": ("Negative prompt", "反向提示词"),
    "seed": ("Seed", "随机种子"),
    "preview_steps": ("Sampling steps", "采样步数"),
    "guidance": ("Guidance", "引导强度"),
    "ladder_empty": (
        "After a run, write a prompt and press Show: one picture at several strengths, and a slider.",
        "训练结束后，写一句提示词并点“生成”：同一张图片的多个强度，加上一个滑块。",
    ),
    "strength": ("Strength", "强度"),
    "strength_help": (
        "0 is the base alone, 1 the trained adapter. Arrow keys work too.",
        "0 只有基础模型，1 是训练好的适配器。也可以用方向键。",
    ),
    "base_picture": ("Base, without the adapter", "基础模型，不带适配器"),
    "adapter_picture": ("With the adapter at {strength}", "适配器强度 {strength}"),
    "ladder_of": ("“{prompt}”, seed {seed}", "“{prompt}”，随机种子 {seed}"),
    "need_adapter": ("There is no trained adapter yet; train one first.", "还没有训练好的适配器；请先训练一个。"),
    "need_prompt": ("The prompt is empty; describe a picture.", "提示词是空的；请描述一张图片。"),
    "failed_preview": ("The pictures could not be made: {reason}", "图片生成失败：{reason}"),
    "download.diffusers": ("Download for diffusers", "下载（diffusers 格式）"),
    "download.kohya": ("Download for kohya, ComfyUI", "下载（kohya、ComfyUI 格式）"),
    "failed_export": ("The file could not be made: {reason}", "文件生成失败：{reason}"),
}
