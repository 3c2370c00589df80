import pytest, time
pytestmark = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_smoke(http, acme, add_lead, as_tenant, platform, key_of):
    print(http.get("/healthz").text, http.get("/readyz").text, http.get("/readyz").status_code)
    print(http.get("/metrics").text[:1500])
    r = http.get("/openapi.json"); print(r.status_code, r.json()["openapi"], list(r.json()["paths"]))
    add_lead(acme, "5001")
    for path in ("/v1/leads", "/v1/leads?q=ada@example.com","/v1/leads?q=202+555+0143", "/v1/leads?q=5001", "/v1/connections", "/v1/jobs"):
        t=time.perf_counter(); r = as_tenant(acme)("GET", path); print(path, r.status_code, r.text[:700], time.perf_counter()-t)
    print(http.get("/nope").text, http.get("/v1/leads").text)
    c = http
    r = c.post("/admin/sign-in", data={"key": key_of(acme, "leads:read")}); print(r.status_code, r.headers)
