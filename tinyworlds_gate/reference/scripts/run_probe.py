"""Generate frames from context frames and action codes alone, for the probe of the inference gate.

python tinyworlds_gate/reference/scripts/run_probe.py REQUEST.h5 RESULT.h5
"""

from tinyworlds_gate.reference.rollout.probe import main

if __name__ == "__main__":
    main()
