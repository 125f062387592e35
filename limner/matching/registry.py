from limner.core import folder, registry


def names(): return registry.names("matching")
def is_matching(p): return folder.kind_of(p)=="matching"
