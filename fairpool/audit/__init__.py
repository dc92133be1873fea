"""Audit of pooled data before anything is trained: can these data support the constraint at all?

`audit_manifest` and `audit_records` make an `Audit`; `Audit.to_json` and `fairpool.audit.page.make_page` show it.
"""

from fairpool.audit.auditing import audit_manifest, audit_records
from fairpool.audit.report import Audit

__all__ = ["Audit", "audit_manifest", "audit_records"]
