"""What belongs to no single part of the page."""

WORDS = {
    "layout": ("Layout (boxes)", "布局（方框）"),
    "text_tab": ("Text", "文本"),
    "vora_tab": ("Seeing (VoRA)", "看图（VoRA）"),
    "title": ("LoRA Web", "LoRA Web"),
    "tagline": (
        "Teach a model your pictures, move a slider to see what it learned, take home a file other tools read.",
        "用你的图片教会模型，拖动滑块看看它学到了什么，再带走一个其他工具都能读的文件。",
    ),
    "switches": ("Language and appearance", "语言与外观"),
    "to_dark": ("Dark", "深色"),
    "to_light": ("Light", "浅色"),
    "trust": ("Your data, limits and promises", "你的数据、限制与承诺"),
    "your_data": ("Your data", "你的数据"),
    "where_local": (
        "Pictures, runs and adapters stay on this computer, in {folder}.",
        "图片、训练和适配器都留在这台电脑上，位于 {folder}。",
    ),
    "where_hosted": (
        "Pictures, runs and adapters are kept on this server. Whoever runs the server can reach its disk.",
        "图片、训练和适配器保存在这台服务器上。服务器的管理者可以访问它的磁盘。",
    ),
    "kept": (
        "They are kept until you delete them.",
        "它们会一直保留，直到你删除。",
    ),
    "kept_hours": (
        "They are deleted when you have not been here for {hours} hours; never while a run of yours goes on.",
        "如果你 {hours} 小时没有来过，它们会被删除；训练进行期间绝不会删除。",
    ),
    "copies": (
        "Copies that the server made of uploads and downloads go within a day.",
        "服务器为上传和下载制作的副本会在一天内清除。",
    ),
    "alone": (
        "Only this browser can reach them through the page; clearing its data ends that.",
        "通过页面只有这个浏览器能访问它们；清除浏览器数据后将无法再访问。",
    ),
    "your_limits": ("Limits", "限制"),
    "limit.files": (
        "{files} files at once, {size} each, {pictures} pictures or {rows} rows of text in a dataset.",
        "一次 {files} 个文件，每个不超过 {size}；一个数据集最多 {pictures} 张图片，或 {rows} 行文本。",
    ),
    "limit.space": ("{size} of space for everything you keep here.", "你在这里保存的全部内容最多占用 {size}。"),
    "limit.settings": (
        "{steps} steps, {resolution} px, rank {rank}, batches of {batch}.",
        "最多 {steps} 步、分辨率 {resolution} 像素、秩 {rank}、批大小 {batch}。",
    ),
    "limit.line": (
        "{runs} runs of yours waiting or training; {queue} runs waiting in all.",
        "你最多有 {runs} 个训练在排队或进行；全部排队的训练最多 {queue} 个。",
    ),
    "limit.starts": ("{starts} runs started within an hour.", "一小时内最多启动 {starts} 个训练。"),
    "limit.uploads": ("{uploads} uploads within an hour.", "一小时内最多上传 {uploads} 次。"),
    "our_promises": ("Promises", "承诺"),
    "no_telemetry": (
        "No telemetry, no analytics, no request to any other server unless you name a base from the Hub.",
        "没有遥测，没有统计分析；除非你指定 Hub 上的基础模型，否则不会访问任何其他服务器。",
    ),
    "safetensors_only": (
        "Only safetensors files are read and written; no code from a model or a dataset is ever run.",
        "只读写 safetensors 文件；绝不运行模型或数据集中的代码。",
    ),
    "process": (
        "Training is a process of its own: closing this page loses nothing.",
        "训练在独立的进程中进行：关闭页面不会丢失任何东西。",
    ),
    "used": ("You have used {used} of {limit}.", "你已使用 {used}，上限 {limit}。"),
    "forget": ("Delete my data", "删除我的数据"),
    "forget_sure": (
        "Stop your runs and delete all your pictures, runs and adapters on this server? This cannot be undone.",
        "停止你的训练，并删除你在这台服务器上的所有图片、训练和适配器？此操作无法撤销。",
    ),
    "forgotten": ("Everything of yours has been deleted.", "你的所有数据都已删除。"),
    "not_forgotten": (
        "Not everything could be deleted ({reason}); try again.",
        "未能全部删除（{reason}）；请再试一次。",
    ),
    "vibe_refused": (
        "GRADIO_VIBE_MODE lets every visitor run code on this computer; unset it and start again.",
        "GRADIO_VIBE_MODE 会让任何访客在这台电脑上运行代码；请取消该变量后重新启动。",
    ),
    "other_language": ("中文", "English"),
    "too_many_files": (
        "{count} files were added at once, at most {limit} are allowed; put them in a zip file or add fewer.",
        "一次添加了 {count} 个文件，最多允许 {limit} 个；请打包成 zip 文件或减少数量。",
    ),
    "too_many_pictures": (
        "These are {count} pictures, at most {limit} are allowed; add fewer.",
        "共有 {count} 张图片，最多允许 {limit} 张；请减少数量。",
    ),
    "too_many_rows": (
        "These are {count} rows, at most {limit} are allowed; add fewer.",
        "共有 {count} 行，最多允许 {limit} 行；请减少数量。",
    ),
    "no_room": (
        "Your space holds {used} and this needs {more} more, at most {limit} fit; delete a run or add less.",
        "你的空间已用 {used}，还需要 {more}，上限是 {limit}；请删除一个训练或减少文件。",
    ),
    "too_many_starts": (
        "You started {limit} runs within an hour, which is the limit here; try again in {time}.",
        "你一小时内已启动 {limit} 个训练，达到这里的上限；请在 {time}后再试。",
    ),
    "too_many_runs": (
        "{count} of your runs are waiting or training, at most {limit} may; stop one or wait for it to end.",
        "你有 {count} 个训练正在排队或进行，最多允许 {limit} 个；请停止一个，或等它结束。",
    ),
    "queue_full": (
        "{limit} runs are waiting already, which is all this server takes; try again later.",
        "已有 {limit} 个训练在排队，这台服务器不能再接收；请稍后再试。",
    ),
    "run_time_over": (
        "A run trains at most {minutes} minutes on this server; then it is stopped and what it learned is kept.",
        "在这台服务器上，一个训练最多进行 {minutes} 分钟；之后会停止，已学到的会保留。",
    ),
    "length_needed": ("The request does not say how long it is.", "请求没有说明长度。"),
    "too_large": ("This is too large: at most {limit} are taken at once.", "内容过大：一次最多接收 {limit}。"),
    "too_many_uploads": (
        "{limit} uploads within an hour is the limit here; try again in {time}.",
        "这里一小时最多上传 {limit} 次；请在 {time}后再试。",
    ),
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
