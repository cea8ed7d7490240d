"""zbudlab for a room on one Linux machine: JupyterHub, with an account and a memory of its own for each learner.

The way there is in notebooks/README.md.  Root starts it, since it starts a server for each learner, as that learner:

    /opt/zbudlab/.venv/bin/jupyterhub --config /opt/zbudlab/notebooks/room/jupyterhub_config.py

There is no password, token or key in this file, and none belongs here.
"""

c = get_config()  # noqa: F821  (JupyterHub gives it)

# Who gets in: whoever has an account on this machine and is in the Unix group zbudlab, by the account's own password.
# Nobody else, and no password that the room shares.
c.JupyterHub.authenticator_class = "pam"
c.LocalAuthenticator.allowed_groups = {"zbudlab"}
c.Authenticator.allow_all = False
c.LocalAuthenticator.create_system_users = False
c.Authenticator.admin_users = set()  # your own name, to see and stop learners' servers in the browser

# What listens where: loopback only.  A web server with a certificate stands in front, and speaks to port 8000.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:8081"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:8001"
c.Spawner.ip = "127.0.0.1"

# Learners under one host name share an origin, and a page of one could speak as another.  If you have a wildcard name
# and a certificate for it, give each a name of their own:
# c.JupyterHub.subdomain_host = "https://hub.example.org"

# What the hub has to remember, in a folder that is root's alone (mode 700).  The secrets in it are made at random.
c.JupyterHub.cookie_secret_file = "/var/lib/zbudlab/cookie_secret"
c.JupyterHub.db_url = "sqlite:////var/lib/zbudlab/hub.sqlite"
c.ConfigurableHTTPProxy.pid_file = "/var/lib/zbudlab/proxy.pid"

# How much a learner may take.  systemd holds them to it; JupyterHub's own LocalProcessSpawner would not, it would only
# tell the server what it ought to take.
c.JupyterHub.spawner_class = "systemd"
c.Spawner.mem_limit = "1G"
c.Spawner.cpu_limit = 1.0
c.SystemdSpawner.isolate_tmp = True
c.SystemdSpawner.disable_user_sudo = True
c.JupyterHub.active_server_limit = 40  # 1 GB each is a ceiling, not what is used; see README.md for that

# Thirty who log in at once: their servers start side by side, and on few processors it takes minutes until the last is
# there.  By itself JupyterHub would give it up after half a minute.  concurrent_spawn_limit would be no help: it does
# not make people wait in turn, it turns them away and has them come back.
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300

# What a learner sees: a copy of the notebooks in their home, opened at the first.
c.Spawner.cmd = ["/opt/zbudlab/.venv/bin/jupyterhub-singleuser"]
c.Spawner.notebook_dir = "~/zbudlab"
c.Spawner.default_url = "/lab/tree/00-start-here.ipynb"
c.Spawner.disable_user_config = True

# A learner's kernels listen on sockets in that learner's home, which nobody else can open (the home's own path may have
# 28 letters).  By itself Jupyter has them on ports of the one loopback; of thirty kernels that started at once in a
# trial, one found its port taken, and again each time that it was started anew.
c.Spawner.args = [
    "--LabApp.extension_manager=readonly",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--KernelManager.transport=ipc",
    "--MappingKernelManager.cull_idle_timeout=1800",  # a kernel that no page is open on gives its memory back
]
