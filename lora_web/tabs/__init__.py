"""One file per tab; `lora_web.app.TABS` lists them."""
