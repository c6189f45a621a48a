import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # report_fakes.py: importlib mode adds no folder
