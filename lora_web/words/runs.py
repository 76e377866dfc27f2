"""The history of runs, and what the supervisor says."""

WORDS = {
    "runs": ("Runs", "训练记录"),
    "runs.intro": (
        "Every training you started in this browser. Open one to try its adapter, or tick two to compare them.",
        "你在这个浏览器里启动过的所有训练。打开一个可以试用它的适配器，勾选两个可以对比。",
    ),
    "runs.empty": (
        "No runs yet. Add pictures in the first tab and press Train: each training is kept here, with its settings, "
        "its curve and its adapter.",
        "还没有训练。在第一个标签页添加图片并点“开始训练”：每次训练都会连同设置、曲线和适配器保存在这里。",
    ),
    "run.queued": ("Waiting", "排队中"),
    "run.running": ("Training", "训练中"),
    "run.finished": ("Done", "已完成"),
    "run.stopped": ("Stopped", "已停止"),
    "run.failed": ("Failed", "失败"),
    "run.interrupted": ("Interrupted", "被中断"),
    "runs.open": ("Open", "打开"),
    "runs.retry": ("Train again", "再训练一次"),
    "runs.rename": ("Rename", "重命名"),
    "runs.delete": ("Delete", "删除"),
    "runs.delete_sure": (
        "Delete “{title}” with its pictures, checkpoints and adapter? This cannot be undone.",
        "删除“{title}”以及它的图片、检查点和适配器？此操作无法撤销。",
    ),
    "runs.new_name": ("A name for this run", "给这个训练起个名字"),
    "runs.pick": ("Compare", "对比"),
    "runs.more": ("Show older runs", "显示更早的训练"),
    "runs.place": ("{ahead} before it in line", "前面还有 {ahead} 个"),
    "runs.facts": (
        "{base} · {variant}, rank {rank} · learning rate {rate} · {resolution} px",
        "{base} · {variant}，秩 {rank} · 学习率 {rate} · {resolution} 像素",
    ),
    "runs.unreadable": ("its settings cannot be read", "设置无法读取"),
    "runs.gone": (
        "This run is no longer there; it may have been deleted in another tab.",
        "这个训练已经不在了；可能已在另一个标签页中删除。",
    ),
    "runs.no_data": (
        "The pictures of this run are no longer in its folder; add them in the first tab and train there.",
        "这个训练的图片已不在它的文件夹里；请在第一个标签页重新添加并训练。",
    ),
    "compare.title": ("Side by side", "并排对比"),
    "compare.settings": ("Settings that differ", "不同的设置"),
    "compare.same": ("All settings are the same.", "所有设置都相同。"),
    "compare.outcome": ("Outcome", "结果"),
    "compare.state": ("State", "状态"),
    "compare.step": ("Steps", "步数"),
    "compare.loss": ("Loss", "损失"),
    "compare.validation": ("Lowest validation loss", "最低验证损失"),
    "compare.time": ("Training time", "训练时间"),
    "compare.plot": ("Smoothed loss (blue: A, orange: B)", "平滑损失（蓝：A，橙：B）"),
    "compare.pictures": ("Same prompt: “{prompt}”", "同一提示词：“{prompt}”"),
    "run.not_resumable": (
        "This run cannot be resumed ({state}); only one that ended early can.",
        "这个训练不能继续（{state}）；只有提前结束的训练才可以。",
    ),
    "run.unwritable": (
        "The run folder could not be written ({reason}); free some disk space and try again.",
        "无法写入训练文件夹（{reason}）；请腾出磁盘空间后重试。",
    ),
    "ended.silent": (
        "Training ended without saying why; the computer or the server may have been switched off.",
        "训练没有说明原因就结束了；电脑或服务器可能被关闭过。",
    ),
    "ended.signal": (
        "Training was ended from outside (signal {signal}); the computer may have run out of memory.",
        "训练被外部终止（信号 {signal}）；电脑的内存可能不够。",
    ),
    "ended.code": (
        "Training ended with exit code {code}; the last lines of its log are below.",
        "训练以退出码 {code} 结束；日志的最后几行在下面。",
    ),
    "ended.time": (
        "It trained the {minutes} minutes that a run may at a stretch here. What it learned is kept; Resume puts it "
        "back in line.",
        "已达到这里单次连续训练 {minutes} 分钟的上限。已学到的会保留；点“继续”可重新排队。",
    ),
    "store.taken": (
        "Another LoRA Web is using the workspace {folder}; close it, or name another folder with --workspace.",
        "另一个 LoRA Web 正在使用工作文件夹 {folder}；请先关闭它，或用 --workspace 另选一个文件夹。",
    ),
    "store.unusable": (
        "The list of runs ({name}) cannot be used: {reason}. The runs themselves are safe in their folders.",
        "训练列表（{name}）无法使用：{reason}。训练本身仍完好地保存在各自的文件夹里。",
    ),
    "store.rebuilt": (
        "The list of runs was damaged and has been made anew from the run folders; names you gave and the line of "
        "waiting runs are lost. The damaged file was kept as {name}.",
        "训练列表已损坏，现已根据训练文件夹重建；你起的名字和排队顺序已丢失。损坏的文件保留为 {name}。",
    ),
}
