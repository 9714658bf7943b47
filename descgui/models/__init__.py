"""What the window knows: QObjects with a frozen state and a signal each, without widgets.

A model is silent when nothing changed.  Views draw models; controllers change them.
"""
