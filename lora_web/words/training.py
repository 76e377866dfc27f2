"""A run as it goes."""

WORDS = {
    "progress": ("3. Training", "3. 训练"),
    "state.none": ("Nothing is training yet.", "还没有训练在进行。"),
    "state.queued": (
        "In line: {ahead} before this one. It starts by itself.",
        "排队中：前面还有 {ahead} 个训练，轮到时会自动开始。",
    ),
    "state.queued_next": ("Starting.", "正在启动。"),
    "state.preparing": (
        "Reading the pictures and loading the base. This takes a few seconds.",
        "正在读取图片并加载基础模型，需要几秒钟。",
    ),
    "state.running": ("Training.", "训练中。"),
    "state.stopping": (
        "Stopping after this step. What was learned is kept.",
        "这一步之后停止。已学到的会保留。",
    ),
    "state.finished": ("Done. Try it below.", "完成。可以在下面试用。"),
    "state.stopped": (
        "Stopped. What was learned is kept; try it below, or resume.",
        "已停止。已学到的保留着；可以在下面试用，或继续训练。",
    ),
    "state.never": (
        "Taken out of the line before it began. Resume puts it back.",
        "还没开始就移出了队列。点“继续”可重新排队。",
    ),
    "state.failed": ("Training failed.", "训练失败。"),
    "state.interrupted": ("Training was interrupted.", "训练被中断。"),
    "keep_hint": ("Resume goes on from the last checkpoint.", "“继续”会从最近的检查点接着训练。"),
    "step": ("Step {step} of {steps}", "第 {step} / {steps} 步"),
    "left": ("about {time} left", "大约还需 {time}"),
    "loss": ("Loss {loss}", "损失 {loss}"),
    "validation": ("validation loss {loss}", "验证损失 {loss}"),
    "speed": ("{speed} steps per second", "每秒 {speed} 步"),
    "memory": ("{gigabytes} GB of memory", "内存 {gigabytes} GB"),
    "took": ("took {time}", "用时 {time}"),
    "overfit": (
        "Validation loss was lowest at step {step} and has risen {percent} % since: the adapter may be learning these "
        "pictures by heart. Stop and keep, or next time train about {step} steps.",
        "验证损失在第 {step} 步最低，之后上升了 {percent}%：适配器可能正在死记这些图片。"
        "可以停止并保留，或下次只训练约 {step} 步。",
    ),
    "others": ("Your other runs:", "你的其他训练："),
    "preview.step": ("step {step}", "第 {step} 步"),
    "preview.strip": ("Preview pictures made while training", "训练中生成的预览图"),
    "preview.of": ("“{prompt}” while training", "训练过程中的“{prompt}”"),
    "sample": ("Sample now", "立即出图"),
    "sampling": ("Drawing…", "正在出图…"),
    "safe": (
        "It is safe to close this page: training goes on, and this link finds it again in this browser:",
        "可以放心关闭页面：训练会继续，用这个浏览器打开下面的链接就能找回它：",
    ),
    "link": ("link to this run", "这个训练的链接"),
    "log": ("Last lines of the log", "日志的最后几行"),
    "plot": (
        "Loss (grey: each step, blue: smoothed, orange: validation)",
        "损失（灰：每一步，蓝：平滑，橙：验证）",
    ),
    "plot.raw": ("each step", "每一步"),
    "plot.smooth": ("smoothed", "平滑"),
    "plot.validation": ("validation", "验证"),
    "plot.step": ("step", "步"),
    "plot.loss": ("loss", "损失"),
    "stop": ("Stop and keep", "停止并保留"),
    "leave": ("Leave the line", "退出队列"),
    "resume": ("Resume", "继续"),
    "discard": ("Discard", "丢弃"),
    "discard_sure": ("Delete this run and everything it learned?", "删除这个训练和它学到的一切？"),
    "seconds": ("{count} s", "{count} 秒"),
    "minutes": ("{count} min", "{count} 分钟"),
    "hours": ("{hours} h {minutes} min", "{hours} 小时 {minutes} 分钟"),
}
