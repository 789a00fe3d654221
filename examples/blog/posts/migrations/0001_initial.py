import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Post",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=120)),
                ("slug", models.SlugField(help_text="The post's name in its address.", max_length=120, unique=True)),
                (
                    "summary",
                    models.CharField(help_text="One or two sentences, for the list and the feed.", max_length=250),
                ),
                ("text", models.TextField(help_text="An empty line begins a new paragraph. Addresses become links.")),
                (
                    "published",
                    models.DateTimeField(
                        blank=True,
                        db_index=True,
                        help_text="Empty: a draft. In the future: shown from then on.",
                        null=True,
                    ),
                ),
            ],
            options={
                "ordering": ["-published", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Comment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60, verbose_name="your name")),
                ("text", models.TextField(max_length=2000, verbose_name="your comment")),
                ("written", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("is_hidden", models.BooleanField(default=False, verbose_name="hidden")),
                (
                    "post",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="comments", to="posts.post"
                    ),
                ),
            ],
            options={
                "ordering": ["written", "id"],
            },
        ),
    ]
