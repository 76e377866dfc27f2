"""What belongs to no single part of the page."""

WORDS = {
    "title": ("LoRA Web", "LoRA Web"),
    "tagline": (
        "Teach a model your pictures, move a slider to see what it learned, take home a file other tools read.",
        "用你的图片教会模型，拖动滑块看看它学到了什么，再带走一个其他工具都能读的文件。",
    ),
    "other_language": ("中文", "English"),
    "more_lines": ("and {count} more", "另有 {count} 条"),
    "port_taken": (
        "Port {port} on {host} is in use by another program; choose another with --port.",
        "{host} 的端口 {port} 已被其他程序占用；请用 --port 另选一个。",
    ),
    "ready": (
        "LoRA Web is ready: {url}  (Ctrl+C ends the page; a training that is going on goes on)",
        "LoRA Web 已就绪：{url}（Ctrl+C 关闭页面；正在进行的训练会继续）",
    ),
}
