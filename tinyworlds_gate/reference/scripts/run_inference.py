"""Roll out the three trained models on held-out clips.

python tinyworlds_gate/reference/scripts/run_inference.py --config configs/inference.yaml -- key=value ...
"""

from tinyworlds_gate.reference.rollout.inference import main

if __name__ == "__main__":
    main()
