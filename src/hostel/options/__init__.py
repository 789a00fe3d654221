"""Every option, declared once: type, default, unit and one sentence. Validation, schema and reference come from here."""
