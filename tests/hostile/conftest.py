import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # families and run.py: importlib mode adds no folder
