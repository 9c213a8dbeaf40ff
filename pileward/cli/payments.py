"""What stands behind the ports of payments and logins, built from the settings of this process."""

from __future__ import annotations

import click

from pileward.config.settings import Secret, WechatSettings
from pileward.integrations.wechat_account import AccountError
from pileward.integrations.wechat_login import WeChatLogins
from pileward.integrations.wechat_pay import WeChatPay, from_settings


def make_payments(settings: WechatSettings) -> WeChatPay | None:
    """The WeChat Pay client, still to be started; None when payments are off.

    Raises ClickException naming the setting that cannot be used.
    """
    if not settings.enabled:
        return None
    try:
        return from_settings(
            mchid=settings.mchid,
            appid=settings.appid,
            api_v3_key=_reveal(settings.api_v3_key),
            merchant_key_path=settings.merchant_key_path,
            cert_serial=settings.cert_serial,
            public_key_path=settings.public_key_path,
            public_key_id=settings.public_key_id,
            platform_certificate_path=settings.platform_certificate_path,
            notify_base_url=settings.notify_base_url,
            gateway_url=settings.gateway_url,
        )
    except AccountError as error:
        raise click.ClickException(str(error)) from error


def make_logins(settings: WechatSettings) -> WeChatLogins | None:
    """The logins of the mini-program, still to be started; None when payments are off.

    Raises ClickException naming the setting that cannot be used.
    """
    if not settings.enabled:
        return None
    try:
        return WeChatLogins(settings.appid, _reveal(settings.app_secret), api_url=settings.api_url)
    except AccountError as error:
        raise click.ClickException(str(error)) from error


def _reveal(secret: Secret | None) -> str:
    return secret.reveal() if secret is not None else ""
