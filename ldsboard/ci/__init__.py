"""Submit a score file in CI, and report the result there: ``python -m ldsboard.ci``.

``action.yml`` (GitHub and Forgejo) and ``templates/ci/gitlab.yml`` run this program, which reads its inputs from the environment.
"""
