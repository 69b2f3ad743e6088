"""talklora"""
