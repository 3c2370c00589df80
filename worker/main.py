"""`celery -A worker.main worker`: the app as the environment describes it."""

from worker.app import create_app
from worker.services import build
from worker.settings import read_settings
from worker.tasks import HANDLERS

app = create_app(build(read_settings()), HANDLERS)
