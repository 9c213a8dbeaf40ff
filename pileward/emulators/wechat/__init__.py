"""WeChat Pay API v3 and the mini-program login, emulated for one merchant: `pileward emulate wechat`."""
